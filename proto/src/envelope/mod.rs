//! The messages of the mesh hop, straight from HTTP heads to wire bytes and back.
