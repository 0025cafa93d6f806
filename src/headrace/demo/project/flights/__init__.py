"""Will this flight be late? Trained on what was known, scored live two hours before departure, retrained on evidence."""
