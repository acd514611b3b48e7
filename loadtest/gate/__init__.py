"""The judgement of a run's objectives: from columns to verdicts."""
