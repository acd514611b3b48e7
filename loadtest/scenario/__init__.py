"""What the user asked for: YAML to typed, validated, frozen values."""
