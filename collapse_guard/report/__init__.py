"""What people look at: plots and summaries of judgements."""
