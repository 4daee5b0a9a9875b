//! Choosing one endpoint among several: round robin and passive ejection.
