"""Words that everything else is made of: facts, ids, the clock, instants and durations. Imports only `errors`."""
