"""What several protocols share on the wire: fields, JSON, XML, SOAP, signatures."""
