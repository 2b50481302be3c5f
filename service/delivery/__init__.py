"""What we send by ourselves: replies to donors, from the outbox to the hub."""
