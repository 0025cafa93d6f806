"""Words that everything else is made of: facts, ids, instants and durations. Imports only `errors`."""
