"""The flows of a job: each yields requests to send and times to wait for, and fills the job's sample."""
