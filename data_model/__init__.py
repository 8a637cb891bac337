"""Store, index, query, rules and correlation of recorded training runs. Knows neither torch nor Panel."""
