//! Questions about the sidecar itself: health, and what status and metrics report.
