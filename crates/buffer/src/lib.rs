//! The bounded queue in front of one endpoint.
