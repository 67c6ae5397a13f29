"""Ask, choose, chat, stream and batch over one loaded model, with the answer's provenance.

`engine` is the front; `prepare` turns media into features (once per clip); `decoding` reads prompts and generates;
`compat` keeps the official two functions; `selfcheck` tests the whole path on this machine.
"""
