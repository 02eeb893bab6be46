"""What people run: the console command and the trial installation. The one rule: nothing of ours imports it."""
