// Which files, commits and machines a run came from; Ledger/ writes it down.
internal import Events
