"""The site model: what people write down about a site, checked, and published as a document.

`tables` names the files and columns, `folder` reads a folder, `typed` gives cells their values, `check` finds every
fault, `build` makes a document for every site, `document` is what is published, `points` makes arrays of it for
kernels.
"""
