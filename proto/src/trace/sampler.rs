//! Which new traces are sampled: OpenTelemetry's `TraceIDRatioBased`, so that every sidecar with the same rate decides the
//! same about one trace.
//!
//! ```
//! use proto::trace::sampler::Sampler;
//!
//! assert!(Sampler::new(1.0).samples(&[0xff; 16]));
//! assert!(!Sampler::new(0.0).samples(&[0; 16]));
//! ```

/// A share of all traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampler {
    /// Traces are sampled whose number lies below; numbers have 63 bits.
    bound: u64,
}

const ALL: u64 = 1 << 63;

impl Sampler {
    /// Samples this share, from 0 to 1; less is 0, more is 1.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped, and cut off as OpenTelemetry does"
    )]
    pub fn new(ratio: f64) -> Sampler {
        let ratio = if ratio.is_nan() { 0.0 } else { ratio.clamp(0.0, 1.0) };
        Sampler { bound: (ratio * ALL as f64) as u64 }
    }

    /// The share.
    #[allow(clippy::cast_precision_loss, reason = "a share")]
    pub fn ratio(self) -> f64 {
        self.bound as f64 / ALL as f64
    }

    /// Whether the trace of this id is sampled.
    pub fn samples(self, trace_id: &[u8; 16]) -> bool {
        let [.., a, b, c, d, e, f, g, h] = *trace_id;
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1 < self.bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_kept_and_survives_being_told() {
        let sampler = Sampler::new(1e-4);
        assert_eq!(Sampler::new(sampler.ratio()), sampler);
        let mut rng = crate::rng::Rng::new(3);
        let mut id = [0; 16];
        let sampled = (0..100_000).filter(|_| {
            id[8..].copy_from_slice(&rng.draw().to_be_bytes());
            Sampler::new(0.25).samples(&id)
        });
        assert!((24_000..26_000).contains(&sampled.count()));
        assert_eq!((Sampler::new(-1.0).ratio(), Sampler::new(f64::NAN).ratio()), (0.0, 0.0));
    }
}
