// A SOAP client in Node (npm: soap) that reads our description: ADDRESS, then lines "ID<tab>TEXT" on stdin.
const soap = require("soap");

async function main() {
  const address = process.argv[2];
  const login = "Basic " + Buffer.from("portal:a-password-for-tests").toString("base64");
  const client = await soap.createClientAsync(`${address}?wsdl`, { wsdl_headers: { Authorization: login } });
  client.setEndpoint(address);
  client.setSecurity(new soap.BasicAuthSecurity("portal", "a-password-for-tests"));
  const lines = require("fs").readFileSync(0, "utf8").split("\n").filter(Boolean);
  for (const line of lines) {
    const [id, text] = line.split("\t");
    const [answer] = await client.GetMODataAsync({
      UserID: "84950000001", ServiceID: "1408", CommandCode: "VNN", Content: text, RequestID: id, Operator: "VMS",
    });
    console.log(answer.GetMODataResult);
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
