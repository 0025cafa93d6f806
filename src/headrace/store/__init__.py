"""The one place of state, behind `ports.Store`. No rule of what runs when; imports `base`, facts and `errors` only."""
