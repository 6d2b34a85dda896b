"""The site model: what people write down about a site, checked, and published as a document that changes every output it may change.

`tables` names the files and columns, `folder` reads a folder, `check` finds every fault, `document` is what is published.
"""
