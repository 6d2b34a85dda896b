"""The demo: a civic centre as a site model, a seeded physical simulator with a known truth, and the screen that shows them."""
