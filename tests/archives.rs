//! Archives (`.tar`, `.tar.gz`): names, kinds of members, and data read from them in place.

use crate::support::files::{archive, folder, member, pax};
use ninc_runtime::data::{load, tar};
use ninc_runtime::spec::{DataSpec, Source};
use std::fs;

#[test]
fn long_names_in_archives_are_read() {
    let folder = folder();
    let path = folder.path().join("long.tar");
    let [gnu, posix] = ["g", "p"].map(|letter| format!("./{}/data.bin", letter.repeat(120)));
    let mut bytes = Vec::new();
    member(&mut bytes, b'L', "././@LongLink", format!("{gnu}\0").as_bytes());
    member(&mut bytes, b'0', "cut name", b"one");
    member(&mut bytes, b'x', "PaxHeaders/data.bin", (pax("mtime", "1.5") + &pax("path", &posix)).as_bytes());
    member(&mut bytes, b'0', "cut name", b"two");
    member(&mut bytes, b'0', "short", b"three");
    fs::write(&path, [&bytes[..], &[0; 1024]].concat()).expect("written");
    let wanted = [gnu[2..].to_string(), posix[2..].to_string(), "short".to_string()];
    let found = tar::members(&path, &wanted, 10).expect("all are there");
    let contents = wanted.map(|name| String::from_utf8_lossy(&found[&name]).into_owned());
    assert_eq!(contents, ["one", "two", "three"]);
    // A name that is itself too long to be one.
    let mut bytes = Vec::new();
    member(&mut bytes, b'L', "././@LongLink", &vec![b'a'; 1 << 17]);
    fs::write(&path, &bytes).expect("written");
    let error = tar::members(&path, &["a".into()], 10).expect_err("too long");
    assert!(error.message.contains("131072 bytes of a member's name"), "{error}");
}

#[test]
fn members_that_are_no_plain_files_are_refused() {
    let folder = folder();
    let path = folder.path().join("odd.tar");
    let check = |bytes: &[u8], says: &str| {
        fs::write(&path, [bytes, &[0; 1024]].concat()).expect("written");
        let error = tar::members(&path, &["a".into()], 10).expect_err("not a plain file");
        assert!(error.message.contains(&format!("is {says}, not a plain file")) && error.help.is_some(), "{error}");
    };
    for (kind, says) in [(b'1', "a link"), (b'2', "a link"), (b'S', "sparse"), (b'5', "a folder"), (b'6', "a device")] {
        let mut bytes = Vec::new();
        member(&mut bytes, kind, "a", b"");
        check(&bytes, says);
    }
    let mut bytes = Vec::new();
    let sparse = pax("GNU.sparse.major", "1") + &pax("path", "a");
    member(&mut bytes, b'x', "PaxHeaders/a", sparse.as_bytes());
    member(&mut bytes, b'0', "GNUSparseFile.0/a", b"0\n");
    check(&bytes, "sparse");
    // Among the others they do no harm.
    let mut bytes = Vec::new();
    member(&mut bytes, b'2', "b", b"");
    member(&mut bytes, b'0', "a", b"here");
    fs::write(&path, [&bytes[..], &[0; 1024]].concat()).expect("written");
    assert_eq!(tar::members(&path, &["a".into()], 10).expect("there")["a"], b"here");
}

#[test]
fn cifar_reads_from_an_archive_in_place() {
    let folder = folder();
    let path = folder.path().join("cifar-10-binary.tar");
    let record = |label: u8| [&[label][..], &[label.wrapping_mul(10); 3072]].concat();
    let batches: Vec<(String, Vec<u8>)> =
        (1..6).map(|i| (format!("cifar-10-batches-bin/data_batch_{i}.bin"), record(i))).collect();
    let mut members: Vec<(&str, &[u8])> = vec![("cifar-10-batches-bin/readme.html", b"hello")];
    members.extend(batches.iter().map(|(n, b)| (n.as_str(), b.as_slice())));
    let test = record(9);
    members.push(("cifar-10-batches-bin/test_batch.bin", &test));
    let whole = archive(&members);
    fs::write(&path, &whole).expect("written");
    let sets = load(&DataSpec::of(Source::Cifar10), Some(folder.path()), &[3, 32, 32]).expect("reads");
    assert_eq!((sets.train.len(), sets.test.len(), sets.names[3].as_str()), (5, 1, "cat"));
    assert_eq!((0..5).map(|i| sets.train.label(i)).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);

    // Up to the last byte of the last member: what pads it may be missing.
    for cut in (0..whole.len() - 1024 - 511).step_by(211) {
        fs::write(&path, &whole[..cut]).expect("written");
        load(&DataSpec::of(Source::Cifar10), Some(&path), &[3, 32, 32]).expect_err("cut");
    }
    // A name that leads out of the folder is just another name.
    fs::write(&path, archive(&[("../../etc/passwd", b"x")])).expect("written");
    let error = tar::members(&path, &["a".into()], 10).expect_err("not there");
    assert!(error.message.contains("no member a"), "{error}");
    let bad = record(77);
    let members: Vec<(&str, &[u8])> = members.iter().map(|(n, _)| (*n, bad.as_slice())).collect();
    fs::write(&path, archive(&members)).expect("written");
    let error = load(&DataSpec::of(Source::Cifar10), Some(&path), &[3, 32, 32]).expect_err("label 77");
    assert!(error.message.contains("label 77"), "{error}");
}

#[test]
fn cifar100_takes_the_fine_labels() {
    let folder = folder();
    let set = folder.path().join("cifar-100-binary");
    fs::create_dir(&set).expect("made");
    let record = |coarse: u8, fine: u8| [&[coarse, fine][..], &[fine; 3072]].concat();
    fs::write(set.join("train.bin"), [record(3, 99), record(4, 0), record(5, 42)].concat()).expect("written");
    fs::write(set.join("test.bin"), record(19, 23)).expect("written");
    let sets = load(&DataSpec::of(Source::Cifar100), Some(folder.path()), &[3, 32, 32]).expect("reads");
    assert_eq!((0..3).map(|i| sets.train.label(i)).collect::<Vec<_>>(), [99, 0, 42]);
    assert_eq!(
        (sets.test.label(0), sets.names.len(), sets.names[99].as_str(), sets.names[0].as_str()),
        (23, 100, "worm", "apple")
    );
    let mut image = vec![0.0; 3072];
    sets.train.copy(2, &mut image).expect("in memory");
    assert!(image.iter().all(|&v| v == 42.0));
    fs::write(set.join("test.bin"), record(1, 100)).expect("written");
    let error = load(&DataSpec::of(Source::Cifar100), Some(&set), &[3, 32, 32]).expect_err("label 100");
    assert!(error.message.contains("label 100 of 100 classes"), "{error}");
    fs::write(set.join("test.bin"), &record(1, 1)[1..]).expect("written");
    load(&DataSpec::of(Source::Cifar100), Some(&set), &[3, 32, 32]).expect_err("a byte is missing");
}
