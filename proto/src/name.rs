//! App ids and namespaces: what is allowed, how they are compared.
