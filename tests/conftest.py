"""Every annotation of the library is checked while the tests run: shapes by jaxtyping."""

import jaxtyping

# Before anything imports grokinterp, or the modules are loaded unchecked.
jaxtyping.install_import_hook(["grokinterp", "grokinterp.hooks"], "beartype.beartype")

import torch  # noqa: E402

torch.set_num_threads(2)
