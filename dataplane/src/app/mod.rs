//! The app hop: the channel to the local app.
