//! The seam to the operating system: the only folder that names the async runtime or contains unsafe.
