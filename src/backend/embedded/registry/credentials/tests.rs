//! Files of credentials: what they say, what is refused, and that they are read again.

use super::*;

fn origin(text: &str) -> Origin {
    Origin::new(text, false).unwrap()
}

fn password(user: &str, password: &str) -> Credential {
    Credential::Password {
        user: user.to_owned(),
        password: password.to_owned(),
    }
}

#[test]
fn entries_are_read_as_docker_writes_them_and_kept_to_their_port() {
    let text = r#"{
        "auths": {
            "https://a.example/v1/": {"auth": "dXNlcjpwYTpzcwA="},
            "b.example:5000": {"username": "u", "password": "p"},
            "c.example": {"identitytoken": "refresh"},
            "d.example": {"registrytoken": "ready", "auth": "dXNlcjpwYTpzcw=="},
            "e.example": {}, "f.example": null,
            "g.example/team": {"auth": "not read"}
        },
        "credsStore": "desktop", "HttpHeaders": {"User-Agent": "x"}
    }"#;
    let table = Table::read(text.as_bytes(), 1).unwrap();
    assert_eq!(table.of(&origin("a.example")), Some(&password("user", "pa:ss")));
    assert_eq!(table.of(&origin("a.example:8443")), None);
    assert_eq!(table.of(&origin("b.example:5000")), Some(&password("u", "p")));
    assert_eq!(table.of(&origin("b.example")), None);
    assert_eq!(
        table.of(&origin("c.example")),
        Some(&Credential::Identity("refresh".to_owned()))
    );
    assert_eq!(
        table.of(&origin("d.example:443")),
        Some(&Credential::Registry("ready".to_owned()))
    );
    for nobody in ["e.example", "f.example", "g.example", "x.a.example"] {
        assert_eq!(table.of(&origin(nobody)), None, "{nobody}");
    }
    assert!(!format!("{table:?}").contains("pa:ss"), "{table:?}");
    assert!(format!("{:?}", password("u", "p").basic().unwrap()).contains("Sensitive"));
}

#[test]
fn errors_tell_where_and_nothing_of_the_content() {
    let why = Table::read(br#"{"auths": {"a": {"auth": 7}}, "secret"}"#, 1).unwrap_err();
    assert!(why.starts_with("line 1, column"), "{why}");
    for bad in ["c2VjcmV0", "secret!"] {
        let text = format!(r#"{{"auths": {{"a.example": {{"auth": "{bad}"}}}}}}"#);
        let why = Table::read(text.as_bytes(), 1).unwrap_err();
        assert!(why.contains("a.example") && !why.contains("secret"), "{why}");
    }
}

#[test]
fn a_change_is_seen_and_a_broken_or_missing_file_is_lived_through() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let write = |secret: &str| {
        std::fs::write(
            &path,
            format!(r#"{{"auths":{{"a":{{"username":"u","password":"{secret}"}}}}}}"#),
        )
    };
    write("one").unwrap();
    let credentials = Credentials::open(path.clone()).unwrap();
    let first = credentials.now();
    assert_eq!(first.of(&origin("a")), Some(&password("u", "one")));
    assert_eq!(credentials.now().version, first.version);
    write("two").unwrap(); // the same size, most likely within the same tick of the clock
    let second = credentials.now();
    assert_eq!(second.of(&origin("a")), Some(&password("u", "two")));
    assert!(second.version > first.version);
    std::fs::write(&path, "{").unwrap();
    assert_eq!(credentials.now().of(&origin("a")), Some(&password("u", "two")));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(credentials.now().of(&origin("a")), None);
    write("three").unwrap();
    assert_eq!(credentials.now().of(&origin("a")), Some(&password("u", "three")));
    assert!(matches!(
        Credentials::open(folder.path().to_owned()),
        Err(SettingsError::AuthFile { .. })
    ));
}

/// Its time may be set, or its clock be wrong: a change is seen all the same.
#[test]
fn a_change_is_seen_whatever_the_files_time_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let day = std::time::Duration::from_hours(24);
    let times = [
        SystemTime::UNIX_EPOCH,
        SystemTime::UNIX_EPOCH + day,
        SystemTime::now() + 365 * day,
        SystemTime::now() - 365 * day,
    ];
    let write = |secret: &str, time| {
        let text = format!(r#"{{"auths":{{"a":{{"username":"u","password":"{secret}"}}}}}}"#);
        std::fs::write(&path, text).unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(time)
            .unwrap();
    };
    write("0", times[0]);
    let credentials = Credentials::open(path.clone()).unwrap();
    for before in times {
        for after in times {
            for secret in ["1", "2"] {
                write(secret, if secret == "1" { before } else { after });
                assert_eq!(credentials.now().of(&origin("a")), Some(&password("u", secret)));
            }
        }
    }
}
