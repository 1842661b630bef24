-- The custom key store on whose HSM the object is about to be made; none for the service's own HSMs.
ALTER TABLE intents ADD COLUMN key_store TEXT;
