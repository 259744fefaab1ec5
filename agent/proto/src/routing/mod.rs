//! Routing: routes, policies, granted numbers, lost contexts.

mod disclosures;
mod id_grants;
mod lost_contexts;
mod policy;
mod routes;

pub use disclosures::*;
pub use id_grants::*;
pub use lost_contexts::LostContexts;
pub use policy::Policy;
pub use routes::*;
