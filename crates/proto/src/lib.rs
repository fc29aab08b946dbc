//! The wire: messages, clients and servers generated from `proto/`, their conversions to and from
//! the domain's types, and errors as statuses. It opens no socket; whoever serves or calls does.

macro_rules! package {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub mod $name {
            /// The package's protos and what they import, compiled and encoded, comments included:
            /// for the reflection and the access rules of a server of this package alone.
            pub const DESCRIPTOR_SET: &[u8] =
                include_bytes!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".bin"));

            /// Version 1, which only grows.
            // Messages and fields carry the protos' comments; what prost adds around them has none.
            #[allow(missing_docs, clippy::all)]
            pub mod v1 {
                include!(concat!(env!("OUT_DIR"), "/rlaif.", stringify!($name), ".v1.rs"));
            }

            /// This package and what it imports, compiled and encoded, comments included: for gRPC
            /// reflection and the access rules of its server.
            pub const FILE_DESCRIPTOR_SET: &[u8] =
                include_bytes!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".bin"));
        }
    };
}

package!(
    /// The vocabulary that all services share.
    common
);
package!(
    /// Jobs: submitting, watching, steering, and taking home what they made.
    coordinator
);
package!(
    /// Judgements for direct callers.
    labeler
);
package!(
    /// What the learner does, and what it published.
    learner
);
package!(
    /// Rewards from the current reward model.
    reward
);
package!(
    /// Generations from the current policy.
    rollout
);

mod answers;
mod attachment;
pub mod decode;
mod error;
mod judgements;
mod prompts;
mod tensor;

pub use decode::DecodeError;
pub use error::{Error, ErrorCode, Violation};

/// All protos and what they import, compiled and encoded, comments included: for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
