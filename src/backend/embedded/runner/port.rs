//! Which port an engine listens on. It chooses one itself and says which, or tries those of a range by binding them: nobody
//! asks for a free port and then hopes that it stays free.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::RunnerSettings;

const LISTENING: &str = "listening on http://";

/// The ports to start on, in order; 0 is the engine's own choice.
pub(super) fn candidates(settings: &RunnerSettings) -> impl Iterator<Item = u16> + Send + use<> {
    settings.ports.clone().unwrap_or(0..=0)
}

/// The port that a line of the log names as the engine's own.
pub(super) fn listening(line: &str) -> Option<u16> {
    let (_, address) = line.split_once(LISTENING)?;
    // Older ones go on behind it: ` - starting the main loop`.
    let address = address.split_whitespace().next()?;
    let (_, port) = address.trim_end_matches('/').rsplit_once(':')?;
    port.parse().ok().filter(|&port| port > 0)
}

/// Whether the engine gave up because another has the port.
pub(super) fn taken(lines: &[String]) -> bool {
    lines
        .iter()
        .any(|line| line.contains("couldn't bind") || line.contains("Address already in use"))
}

/// Where we reach an engine that listens on `listen`.
pub(super) fn own(listen: IpAddr, port: u16) -> SocketAddr {
    let address = match listen {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(address, port)
}

/// The URL that callers are told.
pub(super) fn endpoint(settings: &RunnerSettings, own: SocketAddr) -> String {
    let port = own.port();
    match &settings.advertise {
        Some(host) if host.contains(':') && !host.starts_with('[') => format!("http://[{host}]:{port}"),
        Some(host) => format!("http://{host}:{port}"),
        None => format!("http://{own}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_names_the_port() {
        for (line, port) in [
            (
                "0.00.016.572 I srv  llama_server: listening on http://127.0.0.1:35037",
                Some(35037),
            ),
            ("main: server is listening on http://[::1]:8080", Some(8080)),
            (
                "main: server is listening on http://0.0.0.0:8080 - starting the main loop",
                Some(8080),
            ),
            ("listening on http://127.0.0.1:0", None),
            ("listening on http://127.0.0.1:99999", None),
            ("loading model 'x'", None),
        ] {
            assert_eq!(listening(line), port, "{line}");
        }
    }

    #[test]
    fn callers_are_told_what_they_can_reach() {
        let mut settings = RunnerSettings::default();
        let at = own(settings.listen, 4711);
        assert_eq!(endpoint(&settings, at), "http://127.0.0.1:4711");
        assert_eq!(own("0.0.0.0".parse().unwrap(), 1).to_string(), "127.0.0.1:1");
        assert_eq!(own("::".parse().unwrap(), 1).to_string(), "[::1]:1");
        settings.advertise = Some("models.example".to_owned());
        assert_eq!(endpoint(&settings, at), "http://models.example:4711");
        settings.advertise = Some("2001:db8::1".to_owned());
        assert_eq!(endpoint(&settings, at), "http://[2001:db8::1]:4711");
    }
}
