"""The texts of all findings on data, with remedies."""

from __future__ import annotations

from wsss_plugins.doctor.findings import Kind

KINDS = {
    # The folder ---------------------------------------------------------------------
    'unrecognised': Kind(
        'no data set is recognised in {root} (it holds {holds})',
        'name the folder that holds JPEGImages/ (VOC), annotations/ (COCO), val/ with the '
        'images of ImageNet, gtsegs_ijcv.mat (ImageNet-Segmentation), cls/ (SBD), or a '
        'table train.csv with the header file,tags',
    ),
    'interrupted': Kind(
        'its preparation was interrupted',
        'run the same wsss prepare command again: it goes on where it stopped',
    ),
    'macos': Kind(
        '{n} file{s} beginning with ._, which macOS adds and which are no pictures',
        "find {root} -name '._*' -delete",
    ),
    'left-behind': Kind(
        '{n} half-written file{s} of a run that was killed',
        "find {root} -name '.*.part*' -delete",
        problem=False,
    ),
    'checksum': Kind(
        '{n} file{s} {are} not what was prepared (checksums.sha256)',
        'restore them, or delete {root} and run the same wsss prepare command again',
    ),
    'checksum-missing': Kind(
        '{n} file{s} of those prepared {are} gone (checksums.sha256)',
        'restore them, or delete {root} and run the same wsss prepare command again',
    ),
    # Lists --------------------------------------------------------------------------
    'list-broken': Kind('{message}', 'restore the list'),
    'list-empty': Kind('{path} lists no images', 'restore the list'),
    'list-missing': Kind('{path} does not exist', '{mend}'),
    'list-crlf': Kind(
        '{path} has line ends of Windows (CRLF), on which other tools fail',
        "sed -i 's/\\r$//' {path}",
    ),
    'list-suffix': Kind(
        '{n} line{s} of {path} end{v} in a suffix such as .jpg; ids have none',
        "sed -i -E 's/\\.(jpe?g|png)\\s*$//I' {path}",
    ),
    'list-twice': Kind(
        '{n} id{s} {are} listed twice in {path}',
        "awk '!seen[$0]++' {path} > {path}.new && mv {path}.new {path}",
    ),
    'list-count': Kind(
        '{path} lists {found} images, the official list {official}',
        'restore the official list, unless this is a part of the data set on purpose',
    ),
    'list-part': Kind(
        '{path} lists {found} of the official {official} images: it was prepared as a '
        'part of the data set',
        '',
        problem=False,
    ),
    'list-overlap': Kind(
        '{n} image{s} of {path} {are} in val too: what is trained on must not be measured',
        'restore the official list, or prepare the set again: {prepare}',
    ),
    'no-train-aug': Kind(
        'there is no list train_aug: with train, {found} images train instead of 10,582',
        '{prepare}',
    ),
    'train-for-train-aug': Kind(
        '{path} is the list train under another name: {found} images instead of 10,582',
        '{prepare}',
    ),
    # Photos -------------------------------------------------------------------------
    'photo-missing': Kind(
        '{n} of {total} photos of {path} {are} missing',
        'copy them into {folder}, or prepare the set again',
    ),
    'photo-case': Kind(
        '{n} photo{s} of {folder} end{v} in {suffix}, but the lists ask for {asked}',
        'for f in {folder}/*{suffix}; do mv "$f" "${{f%.*}}{asked}"; done',
    ),
    'link-broken': Kind(
        '{n} link{s} of {folder} point{v} to files that are gone',
        'put the linked data back in its place, or prepare the set again with --copy',
    ),
    'photo-broken': Kind(
        '{n} of {total} photos of {folder} cannot be decoded (cut off or damaged)',
        'copy them again from the archive, or take their ids out of the lists',
    ),
    'photo-grey': Kind(
        '{n} photo{s} of {folder} {are} grey, and read as RGB', '', problem=False
    ),
    'photo-cmyk': Kind(
        '{n} photo{s} of {folder} {are} CMYK, and read as RGB with colours a little off',
        'mogrify -colorspace sRGB FILE (ImageMagick) on each, if that matters',
        problem=False,
    ),
    'photo-turned': Kind(
        '{n} photo{s} of {folder} {are} turned by EXIF data, and read upright',
        '',
        problem=False,
    ),
    'photo-unlisted': Kind(
        '{n} picture{s} of {folder} {are} in no list or table', '', problem=False
    ),
    # Image-level labels -------------------------------------------------------------
    'xml-missing': Kind(
        '{n} of {total} images {have} no annotation in {folder}, so no image-level label',
        'copy Annotations of VOCtrainval_11-May-2012.tar there, or give labels= the path '
        'of an .npz',
    ),
    'xml-broken': Kind(
        '{n} of {total} annotations of {folder} cannot be read (cut off or damaged)',
        'copy them again from the archive',
    ),
    'xml-class': Kind(
        '{n} of {total} annotations of {folder} name{v} a class that is none of the '
        '{classes} known ones',
        'correct the names; for a set of its own classes, put classes.txt with one name a '
        'line into {root}',
    ),
    'label-broken': Kind('{message}', 'restore the file'),
    # Masks --------------------------------------------------------------------------
    'mask-missing': Kind('{n} of {total} masks of {folder} {are} missing', '{mend}'),
    'mask-variant': Kind(
        '{folder} holds {found} masks only: {which}',
        '{mend}',
    ),
    'mask-broken': Kind(
        '{n} of {total} masks of {folder} cannot be decoded (cut off or damaged)',
        'copy or draw them again',
    ),
    'mask-jpeg': Kind(
        '{n} mask{s} of {folder} {are} JPEG pictures, whose values are not exact',
        'take the PNG files of the data set: what JPEG has blurred cannot be restored',
    ),
    'mask-coloured': Kind(
        '{n} mask{s} of {folder} show{v} colours instead of indices',
        'wsss prepare convert-masks {folder} --kind colours --out {out}',
    ),
    'mask-colours': Kind(
        "{n} mask{s} of {folder} show{v} colours that are not VOC's",
        'write the index of the class in each pixel instead (0 is background, 255 ignored)',
    ),
    'mask-size': Kind(
        '{n} mask{s} of {folder} {are} of another size than the photo',
        'take the masks, or the photos, of the data set itself; never resize masks',
    ),
    'mask-value': Kind(
        '{n} mask{s} of {folder} {have} values that are no class (allowed: 0 to {most}, 255)',
        'take the masks of the data set itself',
    ),
    'mask-91': Kind(
        '{n} mask{s} of {folder} {have} category ids (up to 90) instead of the 80 classes',
        'wsss prepare convert-masks {folder} --kind category-ids --out {out}',
    ),
    'mask-foreign': Kind(
        '{n} mask{s} of {folder} show{v} classes that the annotations do not have',
        'draw them again: {mend}',
    ),
    # COCO ---------------------------------------------------------------------------
    'instances-missing': Kind(
        'there are photos in {folder}, but no {path}',
        'unpack annotations_trainval2014.zip there',
    ),
    'instances-broken': Kind('{message}', 'unpack annotations_trainval2014.zip again'),
    'photo-size': Kind(
        '{n} photo{s} of {folder} {have} another size than the annotations say',
        'copy them again from the archive',
    ),
    # Tables and other files ---------------------------------------------------------
    'split-broken': Kind('{message}', 'correct the folder as the message says'),
    'table-broken': Kind('{message}', '{mend}'),
    'masks': Kind('{message}', 'correct the masks as the message says'),
    'doubt': Kind('{message}', '', problem=False),
    'file-broken': Kind('{message}', 'copy or download the file again'),
    'image-broken': Kind(
        '{n} of {total} images of {path} cannot be read (cut off or damaged)',
        'download the file again',
    ),
    'sbd-raw': Kind(
        'these are the MATLAB files of SBD, which no data set reads',
        '{prepare}',
        problem=False,
    ),
    'sbd-count': Kind(
        '{folder} has {found} masks, the official one {official}',
        'unpack benchmark.tgz again',
    ),
    'sbd-broken': Kind(
        '{n} file{s} of {folder} {are} damaged', 'unpack benchmark.tgz again'
    ),
}
