//! How values are written where there are many of them: what is not set is left out, and a time is one number. Operations'
//! records are half as long for it, and a start reads thousands of them.

/// Leaves a field out: with `#[serde(default)]`, which brings it back.
pub(crate) fn unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A time as nanoseconds since 1970, for `#[serde(with)]`. Earlier times become 1970, later ones than the year 2554 that.
pub(crate) mod nanoseconds {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        serializer.serialize_u64(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        Ok(UNIX_EPOCH + Duration::from_nanos(u64::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    struct At(#[serde(with = "super::nanoseconds")] SystemTime);

    #[test]
    fn a_time_is_read_as_it_was_written() {
        let again = |time: SystemTime| {
            let text = serde_json::to_string(&At(time)).unwrap();
            serde_json::from_str::<At>(&text).unwrap().0
        };
        for nanos in [0, 1, 1_795_473_321_260_912_808, u64::MAX] {
            let time = UNIX_EPOCH + Duration::from_nanos(nanos);
            assert_eq!(again(time), time);
        }
        assert_eq!(again(UNIX_EPOCH - Duration::from_secs(1)), UNIX_EPOCH);
        let (late, last) = (Duration::from_hours(24 * 365 * 900), Duration::from_nanos(u64::MAX));
        assert_eq!(again(UNIX_EPOCH + late), UNIX_EPOCH + last);
        assert!(serde_json::from_str::<At>("-1").is_err());
    }
}
