"""What tests need and plugins may use: tiny models and tiny data, made on the spot."""
