"""What a served model does: its answers, kept for as long as the user wants, and what people say to them."""
