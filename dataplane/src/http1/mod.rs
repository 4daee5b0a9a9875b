//! HTTP/1.1 connections over the runtime, both roles.
