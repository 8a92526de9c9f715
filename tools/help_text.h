// SPDX-License-Identifier: Apache-2.0
#pragma once

// What stands below the options in `grainmill --help` and `grainmill VERB --help`.
namespace grainmill {

inline constexpr const char* kFooter = R"(Examples:
  grainmill convert disk.vmdk disk.raw          any VMDK with all its snapshots, on all cores; writes
                                                disk.raw and disk.raw.manifest
  grainmill verify disk.raw                     later: is it still what it was? (reads disk.raw.manifest)
  grainmill verify disk.vmdk --manifest disk.raw.manifest
                                                does the VMDK itself still hold the same disk?
  grainmill compare a.vmdk b.vmdk               do two disks, of any formats, hold the same?
  grainmill check *.vmdk                        is anything wrong with these images, or their snapshots?
  grainmill scrub /backup                       the nightly job: which of these images are no longer what
                                                they were?
  grainmill info --backing-chain snap-000002.vmdk
  grainmill map --output json disk.vmdk
  grainmill create disk.vmdk 10G                a new, empty disk; with -b a snapshot of another one
  grainmill commit snap-000002.vmdk             merge a snapshot into its parent

Where a verb is one of qemu-img's, its flags mean what they mean there; flags that are not known are refused.
`grainmill VERB --help` says more. Exit status: 0 done; 1 failed, with the reason on standard error; 2 (verify) the
contents differ. compare and check have those of qemu-img, scrub and batch have their own: their --help.)";

inline constexpr const char* kCheckFooter =
    R"(Tables, headers and descriptors are held against each other and against the files; all compressed grains are
inflated. What is stored plainly has no checksum in the image: `verify` checks it, against the manifest of a
conversion. Images are not written without --repair --yes. Each finding says how bad it is: damage; unchecked (it
could not be read); leak (space that nothing uses); suspicious; cosmetic.
--repair puts VMDKs right from what is whole of them: the other copy of the tables, the addresses that compressed
grains have, header and footer. What nothing decides is left as it is, and said. The image is checked as it would be
before anything is written; the old bytes are kept in IMAGE.undo until it was checked as it is.
--salvage reads an image as --repair would leave it, and around what cannot be read: zeros stand there. RAW.map, in the
format of GNU ddrescue, says of each range whether it is read (+), read although the tables contradict each other
there (/), or missing (-).
Exit status: 0 sound (--salvage: all of it was read); 1 could not be checked; 2 damage; 3 leaks only.

Examples:
  grainmill check *.vmdk                        is anything wrong with these images, or their snapshots?
  grainmill check --repair disk.vmdk            can it be put right? (--yes does it)
  grainmill check --salvage disk.raw disk.vmdk  save what can be saved)";

inline constexpr const char* kVerifyFooter =
    R"(--heal fetches what is not as the manifest says from FROM, proves it against the manifest, and writes it where it is
stored, in the image or in the parent that has it; what the image's tables lost is allocated anew. Content IDs stay, for
the contents are what they were; a parent that is healed is healed for all its snapshots. The old bytes are kept in
IMAGE.undo until what was written reads back right (`grainmill check --undo IMAGE` after a crash).
Exit status: 0 same as in the manifest, or healed; 1 failed; 2 something differs.

Examples:
  grainmill verify disk.raw                     is it still what it was? (reads disk.raw.manifest)
  grainmill verify disk.vmdk --manifest disk.raw.manifest --heal disk.raw
                                                can the VMDK be healed from its raw copy? (--yes does it)
  grainmill verify disk.raw --heal disk.vmdk --yes)";

inline constexpr const char* kScrubFooter =
    R"(Each image gets one verdict: sound; changed (its contents differ, and CID, mtime or size say that someone wrote
them: remembered anew); rotten (they differ, and nothing says so); damaged (its structure, or its chain); missing;
new; unreadable. A base and its snapshots are an image each. A scrub that was stopped, however, goes on where it was
when it is called again. Images are only read.
Exit status: 0 all is well; 1 failed, or stopped by a signal; 2 an image is rotten, damaged, missing or unreadable;
3 all is well, but --within was not kept.

Examples:
  grainmill scrub /backup                       reads all, holds it against the last time
  grainmill scrub --within 7d --hours 22:00-06:00 --html scrub.html /backup
                                                each night a part, so that each byte is read once a
                                                week; with a page to look at
  grainmill scrub --budget 200M/s --raw '*.img' /backup
                                                slowly; raw disks too, which only their names tell)";

inline constexpr const char* kCompareFooter =
    R"(What both disks store in the same place of the same file (a snapshot and its parent) is not read. Where one
disk is larger, the rest must be zeros. Exit status: 0 identical; 1 they differ; 2 failed.

Examples:
  grainmill compare disk.vmdk copy.vmdk         says where the first difference is
  grainmill compare -F raw disk.vmdk disk.raw   the second disk is a raw one
  grainmill compare --all monday.vmdk friday.vmdk
                                                lists all that was changed, to the sector
  grainmill compare -s disk.vmdk copy.vmdk      are they also stored alike?)";

inline constexpr const char* kConvertFooter =
    R"(Examples:
  grainmill convert disk.vmdk disk.raw          a raw disk, sparse, and disk.raw.manifest as proof
  grainmill convert -O qcow2 disk.vmdk disk.qcow2
                                                for KVM; with -c compressed (zlib), with
                                                -c -o compression_type=zstd by zstd
  grainmill convert -O vmdk -c disk.vmdk out.vmdk
                                                streamOptimized, as an OVA needs it
  grainmill convert -O vmdk -o subformat=monolithicSparse,adapter_type=lsilogic disk.raw -f raw out.vmdk
  grainmill convert --resume disk.vmdk disk.raw
                                                can be stopped, and goes on when it is called again
  grainmill convert -O vmdk -c disk.vmdk - | ssh host 'cat > disk.vmdk'
                                                to a pipe; its reader sees a whole disk or a broken one
  grainmill convert disk.vmdk /dev/vg0/vm       over a block device of at least the disk's size)";

inline constexpr const char* kInfoFooter =
    R"(Examples:
  grainmill info disk.vmdk                      format, sizes, content ID, parent, and the files it is
                                                made of
  grainmill info --backing-chain snap-000002.vmdk
                                                of its parents as well
  grainmill info --output json disk.vmdk        with the field names of qemu-img)";

inline constexpr const char* kMapFooter =
    R"(Examples:
  grainmill map disk.vmdk                       which ranges of the guest disk hold data, and in which
                                                file, at which offset
  grainmill map --output json snap-000002.vmdk  with the field names of qemu-img; zeros and holes, too)";

inline constexpr const char* kMeasureFooter =
    R"(Sizes are what a file system that knows holes needs; "fully allocated" is if every byte were stored.

Examples:
  grainmill measure -O qcow2 disk.vmdk          at most; reads tables only
  grainmill measure --exact -O vmdk -c disk.vmdk
                                                to the byte; reads and compresses everything
  grainmill measure -O qcow2 --size 40G)";

inline constexpr const char* kCreateFooter = R"(Examples:
  grainmill create disk.vmdk 10G                one file that grows as it is written to
  grainmill create -o subformat=twoGbMaxExtentSparse,adapter_type=lsilogic disk.vmdk 3T
                                                in files of 2047 MiB, for disks of 2 TiB and more
  grainmill create -o subformat=vmfs,adapter_type=lsilogic disk.vmdk 40G
                                                a descriptor and disk-flat.vmdk, as ESXi has them
  grainmill create -b disk.vmdk disk-000001.vmdk
                                                a snapshot: reads as disk.vmdk, which must not be
                                                written to from then on; -b is looked for from the
                                                snapshot's folder, as qemu-img does
  grainmill create -o help                      all options of -o)";

inline constexpr const char* kCommitFooter =
    R"(The parent then reads as the snapshot did, and other snapshots of it are refused. A commit that was
stopped, even by a power cut, loses nothing: run it again, and it is brought to its end.

Examples:
  grainmill commit disk-000001.vmdk             writes what the snapshot stores into its parent)";

inline constexpr const char* kRebaseFooter = R"(Examples:
  grainmill rebase -b base.vmdk disk-000002.vmdk
                                                the snapshot reads as before, but builds on base.vmdk:
                                                what differs is copied into it
  grainmill rebase -b "" disk-000002.vmdk       ... and builds on nothing any more
  grainmill rebase -u -b moved.vmdk disk-000001.vmdk
                                                the parent was moved or renamed: only says so
  grainmill rebase -u disk-000001.vmdk          the parent was changed, and you are sure that it is
                                                right: takes over its content ID
  grainmill rebase -n -u disk-000001.vmdk       shows what would change)";

}  // namespace grainmill
