"""What the published evidence of docs/reality-check.md comes from; `README.md` says what each file makes."""
