"""What happens to a model after its training: it is updated with new rows, and the better one is promoted.

updating    `update`: from new rows to a decision
gathering   the champion's rows, and what becomes of each new row
feedback    rows of a prediction log whose right label somebody has said
merging     which old rows a challenger learns again
challenging recipes and trainings of challengers
judging     both models on the same rows, and the slices on which nothing may get worse
record      `update.json`, and what was decided before
watching    `update` again and again: after a time, after drift, or with enough feedback
schedules   files for systemd and cron
"""
