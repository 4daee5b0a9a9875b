//! Everything the command line decided, handed from the supervisor to its children.
