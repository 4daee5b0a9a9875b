//! Between the messages of the channel and the types of [`crate::snapshot`], with everything checked on the way in.

mod decode;
mod encode;
mod external;
mod pipelines;

pub use decode::{MAX_ENDPOINTS, MAX_ROUTES, Reasons, app_ref, apply, apply_part, parse_address, route};
pub use encode::{access_control, delta, encode_app_ref, encode_route, full};
pub use external::MAX_HTTP_ENDPOINTS;

#[cfg(test)]
mod tests;
