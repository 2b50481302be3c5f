<?php
// PHP's SoapClient reads our description: ADDRESS, then lines "ID<tab>TEXT" on stdin.
$client = new SoapClient("$argv[1]?wsdl", [
    "login" => "portal", "password" => "a-password-for-tests", "location" => $argv[1], "cache_wsdl" => WSDL_CACHE_NONE,
]);
foreach (array_filter(explode("\n", stream_get_contents(STDIN))) as $line) {
    [$id, $text] = explode("\t", $line);
    $answer = $client->GetMOData([
        "UserID" => "84950000001", "ServiceID" => "1408", "CommandCode" => "VNN", "Content" => $text,
        "RequestID" => $id, "Operator" => "VMS",
    ]);
    echo $answer->GetMODataResult, "\n";
}
