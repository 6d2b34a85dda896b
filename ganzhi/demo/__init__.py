"""The demo: a civic centre as a site model, a seeded physical simulator with a known truth, and a screen for them."""
