//! Configuration and resource files: strict in run, as daprd in daprd mode.
