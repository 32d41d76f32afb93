"""The cryptography of SOCP v1.3 (PROTOCOL.md section 4): nothing here touches a socket or a thread.

encoding   base64url and canonical JSON, one spelling for each value
keys       RSA-4096 keys, the identifiers made from them, and the files they rest in
signing    Sign and Verify, transport signatures with `hdr`, content signatures
sealing    Seal and Open: RSA-OAEP block by block, bound to a label
hybrid     file chunks under AES-256-GCM with a sealed key (section 10.1)
passwords  secrets that rest under a password: scrypt and AES-256-GCM; of this program, and not of the protocol
"""
