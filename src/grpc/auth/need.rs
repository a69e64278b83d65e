//! Which scope each method needs.

/// What a caller must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Not even credentials.
    Nothing,
    /// To look.
    Read,
    /// To change.
    Control,
}

/// Of a call's path. A method that is not told apart here needs `control`, whether it exists or not.
pub(super) fn need(path: &str) -> Need {
    let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else {
        return Need::Control;
    };
    match (service, method) {
        // Probes have no secrets.
        ("grpc.health.v1.Health", _) => Need::Nothing,
        ("grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection", _)
        | ("ichat.modelcontrol.v1.ModelControl", "List" | "Show" | "ListRunning" | "Describe")
        | ("ichat.modelcontrol.v1.Operations", "Get" | "List" | "Watch") => Need::Read,
        _ => Need::Control,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost_reflect::DescriptorPool;

    use super::*;
    use crate::grpc::proto::DESCRIPTORS;

    /// A new method fails here until somebody has decided.
    #[test]
    fn every_method_is_sorted() {
        let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
        let mut control = BTreeSet::new();
        let mut read = BTreeSet::new();
        for method in pool
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
        {
            let service = method.parent_service();
            let path = format!("/{}/{}", service.full_name(), method.name());
            let name = format!("{}.{}", service.name(), method.name());
            match need(&path) {
                Need::Nothing => assert_eq!(service.full_name(), "grpc.health.v1.Health", "{path}"),
                Need::Read => assert!(read.insert(name)),
                Need::Control => assert!(control.insert(name)),
            }
        }
        let sorted = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(
            sorted(control),
            "ModelControl.Copy ModelControl.CreateFromPath ModelControl.Delete ModelControl.EnsureReady \
             ModelControl.Load ModelControl.Pull ModelControl.Push ModelControl.Unload Operations.Cancel"
        );
        assert_eq!(
            sorted(read),
            "ModelControl.Describe ModelControl.List ModelControl.ListRunning ModelControl.Show \
             Operations.Get Operations.List Operations.Watch"
        );
    }

    #[test]
    fn what_is_unknown_needs_most() {
        for path in [
            "",
            "/",
            "grpc.health.v1.Health/Check",
            "//grpc.health.v1.Health/Check",
            "/grpc.health.v1.Health",
            "/grpc.health.v1.HealthX/Check",
            "/ichat.modelcontrol.v1.ModelControl/list",
            "/ichat.modelcontrol.v1.ModelControl/List/",
            "/ichat.modelcontrol.v1.ModelControl/New",
        ] {
            assert_eq!(need(path), Need::Control, "{path}");
        }
    }
}
