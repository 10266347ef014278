"""The paper's figures from predictions and records: each a PNG, a PDF, and an account of what is in it."""
