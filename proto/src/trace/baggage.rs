//! `baggage` (W3C Baggage), checked as daprd checks it: a malformed value is answered with 400.
