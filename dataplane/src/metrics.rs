//! Counters and histograms of one shard; single writer, read by anyone.
