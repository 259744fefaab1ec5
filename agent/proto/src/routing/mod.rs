//! Where frames go, and who may do what: the table of routes, policies, granted ids, contexts that are gone.

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
