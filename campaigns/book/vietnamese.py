"""The Vietnamese form of each sentence about an apply file, by its English form.

A row keeps the values of its English form: {names} in braces, keys and words of the file as they are written there.
"""

VIETNAMESE: dict[str, str] = {
    # The file as a whole.
    "cannot be read ({cause}); check the path and its permissions": (
        "không đọc được ({cause}); hãy kiểm tra đường dẫn và quyền đọc tệp"
    ),
    "is larger than {max} bytes; split it: what a file does not name stays": (
        "lớn hơn {max} byte; hãy chia thành nhiều tệp: điều gì tệp không nêu thì vẫn giữ nguyên"
    ),
    "is not UTF-8 (byte {at}); save it as UTF-8": "không phải UTF-8 (byte {at}); hãy lưu tệp theo mã UTF-8",
    "holds a number or a nesting beyond all measure; shorten it": (
        "có một số hoặc các ngoặc lồng nhau dài quá mức; hãy rút ngắn"
    ),
    "is not valid TOML: it ends too early; complete its last line": (
        "không đúng cú pháp TOML: tệp kết thúc quá sớm; hãy viết nốt dòng cuối"
    ),
    "column {column}: is not valid TOML from here; correct the line": (
        "cột {column}: từ đây không đúng cú pháp TOML; hãy sửa dòng này"
    ),
    'holds the curly quotation marks of a word processor; write straight ones, as in "VNN"': (
        'có dấu ngoặc kép cong của phần mềm soạn thảo; hãy dùng dấu thẳng, như "VNN"'
    ),
    "holds a date in the order day, month, year; write it as in 2026-11-28T20:07:00+07:00": (
        "có ngày viết theo thứ tự ngày, tháng, năm; hãy viết như 2026-11-28T20:07:00+07:00"
    ),
    "holds a number with points; write it with _ or with nothing between, as in 1_500_000_000": (
        "có số dùng dấu chấm; hãy dùng dấu _ hoặc viết liền, như 1_500_000_000"
    ),
    "holds a number with commas; write it with _ or with nothing between, as in 1_500_000_000": (
        "có số dùng dấu phẩy; hãy dùng dấu _ hoặc viết liền, như 1_500_000_000"
    ),
    "holds the time 24:00; write 00:00 of the next day, which is the first instant that no longer counts": (
        "có giờ 24:00; hãy viết 00:00 của ngày hôm sau, là thời điểm đầu tiên không còn được tính"
    ),
    "holds a time of another form; write it whole, as in 2026-11-28T20:07:00+07:00": (
        "có giờ viết theo dạng khác; hãy viết đầy đủ, như 2026-11-28T20:07:00+07:00"
    ),
    "names a key that the table has already; leave one of the two": (
        "ghi lại một khóa đã có trong bảng này; hãy chỉ giữ một trong hai"
    ),
    "holds a day that its month does not have; correct it": "có ngày không tồn tại trong tháng; hãy sửa lại",
    'holds text without quotes; put each in quotes, as in keywords = ["UH", "UNG HO"]': (
        'có chữ không đặt trong ngoặc kép; hãy đặt từng từ trong ngoặc kép, như keywords = ["UH", "UNG HO"]'
    ),
    "has single brackets; a header is written in double ones, as in [[campaign]]": (
        "chỉ có ngoặc vuông đơn; tiêu đề bảng phải viết ngoặc vuông kép, như [[campaign]]"
    ),
    "is not a table of an apply file; use organisation, campaign or gateway": (
        "không phải là bảng của tệp này; hãy dùng organisation, campaign hoặc gateway"
    ),
    "must be a list of tables; write its header in double brackets": (
        "phải là danh sách bảng; hãy viết tiêu đề trong ngoặc vuông kép"
    ),
    "stands more than {max} times; split the file": "xuất hiện quá {max} lần; hãy chia tệp",
    # What a key may hold.
    "is missing; add it": "còn thiếu; hãy thêm vào",
    "secrets is missing; add them, or public_keys where the sender signs by Ed25519": (
        "còn thiếu secrets; hãy thêm, hoặc thêm public_keys nếu bên gửi ký bằng Ed25519"
    ),
    "question.parts goes with signature.parts: give both or neither": (
        "question.parts đi cùng signature.parts: hãy ghi cả hai hoặc bỏ cả hai"
    ),
    "secrets is missing; add them, or access_tokens where a server signs them": (
        "còn thiếu secrets; hãy thêm, hoặc thêm access_tokens nếu mã truy cập do máy chủ cấp quyền ký"
    ),
    "must have 2048 to 4096 bits; let the issuer sign by another key": (
        "phải dài từ 2048 đến 4096 bit; hãy đề nghị bên cấp mã ký bằng khóa khác"
    ),
    "is no public key; copy its members as they stand in the issuer's JWK Set": (
        "không phải là khóa công khai; hãy chép đúng các thành phần như trong bộ JWK của bên cấp mã"
    ),
    "is of a kind that does not sign by its alg; correct either": (
        "thuộc loại khóa không ký được theo alg đã ghi; hãy sửa một trong hai"
    ),
    "keys need a kid each, another one for every key: by it a token names its own": (
        "mỗi khóa trong keys cần một kid riêng: mã truy cập dùng kid để nêu khóa đã ký"
    ),
    "is not a key of this table; correct its name or remove it": (
        "không phải là khóa của bảng này; hãy sửa tên hoặc bỏ đi"
    ),
    "must be text; put it in quotes": "phải là chữ; hãy đặt trong ngoặc kép",
    "must not be empty; fill it in": "không được để trống; hãy điền vào",
    "must not be longer than {max_length} characters; shorten it": (
        "không được dài quá {max_length} ký tự; hãy rút ngắn"
    ),
    "must be a whole number; write it without quotes, point or fraction": (
        "phải là số nguyên; hãy viết không có ngoặc kép, dấu chấm hay phần lẻ"
    ),
    "must be at least {ge}; correct it": "phải từ {ge} trở lên; hãy sửa lại",
    "must be at most {le}; correct it": "không được vượt quá {le}; hãy sửa lại",
    "must be one of {expected}; correct it": "phải là một trong các giá trị {expected}; hãy sửa lại",
    "must be a time with a zone, as in 2026-10-17T00:00:00+07:00": (
        "phải là thời điểm có múi giờ, như 2026-10-17T00:00:00+07:00"
    ),
    "needs a time zone, as in 2026-10-17T00:00:00+07:00": "thiếu múi giờ; hãy viết như 2026-10-17T00:00:00+07:00",
    "must be a list; put it in square brackets": "phải là danh sách; hãy đặt trong ngoặc vuông",
    "must not be empty; add at least one": "không được để trống; hãy thêm ít nhất một",
    "holds more than {max_length}; split it": "có quá {max_length} mục; hãy chia ra",
    "must be true or false, without quotes": "phải là true hoặc false, không có ngoặc kép",
    "must be a table of keys and values": "phải là bảng gồm các khóa và giá trị",
    "must look like {pattern}; correct it": "phải có dạng {pattern}; hãy sửa lại",
    "must be 1 to 60 of a-z, 0-9 and -; correct it": "phải gồm 1 đến 60 ký tự a-z, 0-9 và -; hãy sửa lại",
    "must be 1 to 80 of a-z, 0-9 and -; correct it": "phải gồm 1 đến 80 ký tự a-z, 0-9 và -; hãy sửa lại",
    'must be written in small letters; did you mean "{code}"?': (
        'phải viết bằng chữ thường; có phải ý bạn là "{code}"?'
    ),
    "must be 64 of 0-9 and a-f: the SHA-256 of a certificate's public key; correct it": (
        "phải gồm 64 ký tự 0-9 và a-f: mã SHA-256 của khóa công khai trong chứng thư; hãy sửa lại"
    ),
    "must be 3 to 6 digits; correct it": "phải gồm 3 đến 6 chữ số; hãy sửa lại",
    "must hold letters and no control characters; correct it": (
        "phải có chữ và không có ký tự điều khiển; hãy sửa lại"
    ),
    "must lie in the years {first} to {last}; correct it": "phải nằm trong các năm {first} đến {last}; hãy sửa lại",
    "must be a whole second; leave its fraction out": "phải là giây tròn; hãy bỏ phần lẻ của giây",
    "must begin with a letter once folded; donors could not text it": (
        "phải bắt đầu bằng chữ cái sau khi bỏ dấu; nếu không, người ủng hộ không nhắn được"
    ),
    "holds a keyword twice, once folded; remove one of them": (
        "có một từ khóa lặp lại hai lần sau khi bỏ dấu; hãy bỏ bớt một"
    ),
    "must be later than opens_at; it is the first instant not counted": (
        "phải muộn hơn opens_at; đây là thời điểm đầu tiên không còn được tính"
    ),
    "is required in the grammar {grammar}; add it": "là bắt buộc với cú pháp {grammar}; hãy thêm vào",
    "is required in the grammar {grammar}; add it, 1 to {max}": (
        "là bắt buộc với cú pháp {grammar}; hãy thêm vào, từ 1 đến {max}"
    ),
    "must be 1_000 in the grammar thousands; correct it or leave it out": (
        "phải là 1_000 với cú pháp thousands; hãy sửa lại hoặc bỏ đi"
    ),
    "must be 1 to {max} in the grammar {grammar}; correct it": (
        "phải từ 1 đến {max} với cú pháp {grammar}; hãy sửa lại"
    ),
    "times max_units is over {max} VND; lower one of them": (
        "nhân với max_units vượt quá {max} đồng; hãy giảm một trong hai"
    ),
    "ends in GUI and its own code, which is dropped from every text; name the keyword alone": (
        "kết thúc bằng GUI và đầu số của chính nó, phần này bị bỏ khỏi mọi tin nhắn; chỉ ghi từ khóa"
    ),
    "is the same as in {earlier}; give each its own, or join the two tables": (
        "trùng với {earlier}; hãy đặt riêng cho mỗi bảng hoặc gộp hai bảng"
    ),
    # What contradicts the stored book, or another table.
    "is no organisation of this file or the database; add an [[organisation]] with this code": (
        "không phải là tổ chức nào trong tệp này hay cơ sở dữ liệu; hãy thêm một [[organisation]] có mã này"
    ),
    'is no organisation of this file or the database; did you mean "{code}"?': (
        'không phải là tổ chức nào trong tệp này hay cơ sở dữ liệu; có phải ý bạn là "{code}"?'
    ),
    "is missing; add at least one [[campaign.route]]": "còn thiếu; hãy thêm ít nhất một [[campaign.route]]",
    '"{keyword}" on {code} has another grammar, unit_vnd or max_units than "{other}" of this campaign, and one text '
    "meets both; give both the same, or choose another keyword": (
        '"{keyword}" ở đầu số {code} có grammar, unit_vnd hoặc max_units khác với "{other}" của cùng chiến dịch, mà '
        "một tin nhắn khớp với cả hai; hãy ghi giống nhau, hoặc chọn từ khóa khác"
    ),
    '"{keyword}" on {code} stands twice in this campaign; remove one': (
        '"{keyword}" ở đầu số {code} có hai lần trong chiến dịch này; hãy bỏ bớt một'
    ),
    '"{keyword}" on {code} meets the same texts as "{other}" of campaign {slug} while both are open; choose another '
    "keyword, code or window": (
        '"{keyword}" ở đầu số {code} khớp cùng tin nhắn với "{other}" của chiến dịch {slug} khi cả hai đang mở; hãy '
        "chọn từ khóa, đầu số hoặc thời gian khác"
    ),
    '"{keyword}" on {code} keeps its grammar, unit_vnd and max_units: messages were read by it; write {terms}, or '
    "choose another keyword": (
        '"{keyword}" ở đầu số {code} phải giữ grammar, unit_vnd và max_units cũ vì đã có tin nhắn theo từ khóa này; '
        "hãy ghi {terms}, hoặc chọn từ khóa khác"
    ),
    'is too late: messages were read by "{keyword}" on {code}; close the campaign by another decision': (
        'đã quá muộn: đã có tin nhắn theo "{keyword}" ở đầu số {code}; hãy đóng chiến dịch bằng một quyết định khác'
    ),
    "is too late: messages were read by this campaign; close it by another decision": (
        "đã quá muộn: chiến dịch này đã có tin nhắn; hãy đóng chiến dịch bằng một quyết định khác"
    ),
    "leaves the campaign without a keyword; withdraw the campaign itself, or name another": (
        "làm chiến dịch không còn từ khóa nào; hãy rút cả chiến dịch, hoặc nêu từ khóa khác"
    ),
    "changes after messages were read by this campaign: name the decision that orders it, or keep {goal}": (
        "thay đổi khi chiến dịch đã có tin nhắn: hãy nêu quyết định cho phép, hoặc giữ {goal}"
    ),
    "is missing: another window needs another decision; add it, or keep {window}": (
        "còn thiếu: đổi thời gian cần một quyết định khác; hãy thêm vào, hoặc giữ {window}"
    ),
    "was already recorded with its window; name the new decision, or keep the newest: {window}": (
        "đã được ghi nhận cùng thời gian của nó; hãy nêu quyết định mới, hoặc giữ quyết định mới nhất: {window}"
    ),
    "cannot move: {time} has passed; write that time, or open another campaign": (
        "không dời được: {time} đã qua; hãy ghi đúng thời điểm đó, hoặc mở chiến dịch khác"
    ),
    "cannot move from {time} into the past; choose a time to come": (
        "không dời được từ {time} về quá khứ; hãy chọn thời điểm sắp tới"
    ),
    # Gateway accounts.
    "is the code of an earlier [[gateway]] of this file; give each its own": (
        "là mã của một [[gateway]] phía trên trong tệp này; hãy đặt mã riêng cho mỗi cổng"
    ),
    "has fewer than two factors; add networks, path_secret or what else the adapter checks (a network of every "
    "address is no factor)": (
        "có ít hơn hai yếu tố xác thực; hãy thêm networks, path_secret hoặc điều khác mà adapter kiểm tra (mạng gồm "
        "mọi địa chỉ không phải là yếu tố)"
    ),
    "is what metrics call accounts we do not have; choose another code": (
        "là tên dành cho tài khoản không có thật trong số liệu giám sát; hãy chọn mã khác"
    ),
    "on_report needs a protocol that reports charges ({protocols}); use on_message": (
        "on_report cần giao thức có báo cáo thu tiền ({protocols}); hãy dùng on_message"
    ),
    "is not what makes money of these messages; write {expected}": (
        "không phải là cách những tin nhắn này được tính tiền; hãy viết {expected}"
    ),
    "must not hold control characters; remove them": "không được có ký tự điều khiển; hãy bỏ đi",
    "must be text, a whole number, true or false; correct it": (
        "phải là chữ, số nguyên, true hoặc false; hãy sửa lại"
    ),
    "must be a network, as in 10.1.0.0/16 or 2001:db8::/32; correct it": (
        "phải là dải mạng, như 10.1.0.0/16 hoặc 2001:db8::/32; hãy sửa lại"
    ),
    "has bits set behind its prefix; write {network}, or one address without a prefix": (
        "có bit nằm sau tiền tố; hãy viết {network}, hoặc một địa chỉ không có tiền tố"
    ),
    # What protocols say of their own settings.
    "dlr, . and .. mean something else in an address: choose another": (
        "dlr, . và .. có nghĩa khác trong địa chỉ: hãy chọn giá trị khác"
    ),
    "two names differ only by case and mean different carriers": (
        "hai tên chỉ khác nhau ở chữ hoa, chữ thường mà chỉ hai nhà mạng khác nhau"
    ),
    "user and password go together": "user và password phải đi cùng nhau",
    'refuse_value is required with style = "reply": it is what makes the hub refund': (
        'refuse_value là bắt buộc khi style = "reply": nhờ nó mà tổng đài hoàn tiền'
    ),
    "refuse_value must be neither the success value nor -1, which hubs only file": (
        "refuse_value không được là giá trị thành công, cũng không được là -1, vì tổng đài chỉ lưu lại giá trị đó"
    ),
    "each value must be one of viettel, vinaphone, mobifone, vietnamobile, gmobile, mvno, unknown": (
        "mỗi giá trị phải là một trong viettel, vinaphone, mobifone, vietnamobile, gmobile, mvno, unknown"
    ),
    "success_value of GetMOData begins with 0|, for its sender cuts the text after it": (
        "success_value của GetMOData phải bắt đầu bằng 0|, vì bên gửi cắt lấy phần chữ đứng sau"
    ),
    "refuse_value of GetMOData must not begin with 0, which means success": (
        "refuse_value của GetMOData không được bắt đầu bằng 0, vì 0 nghĩa là thành công"
    ),
    "id_parameter and operator_parameter add what the dialect has not: remove what it has": (
        "id_parameter và operator_parameter chỉ bổ sung điều dialect chưa có: hãy xóa tham số dialect đã có"
    ),
    "id_parameter and operator_parameter are names that no other parameter has": (
        "id_parameter và operator_parameter phải khác tên với mọi tham số khác"
    ),
    "without_ids = true goes with dialect short without id_parameter, and with no other: its messages have no id, so "
    "a call that is repeated counts again": (
        "without_ids = true chỉ đi cùng dialect short không có id_parameter: tin nhắn ở đó không có mã, nên một lệnh "
        "gọi lặp lại sẽ được tính thêm lần nữa"
    ),
    "product = smsplus needs short_code and success_codes, which its calls do not say, and style = ack": (
        "product = smsplus cần short_code và success_codes, vì các lệnh gọi không nêu, và style = ack"
    ),
    "short_code and success_codes go with product = smsplus": (
        "short_code và success_codes chỉ đi cùng product = smsplus"
    ),
    "reply_free and reply_charged may hold smsc, account, binfo and meta-data": (
        "reply_free và reply_charged chỉ được chứa smsc, account, binfo và meta-data"
    ),
    "reply_free and reply_charged may hold tags and priority": (
        "reply_free và reply_charged chỉ được chứa tags và priority"
    ),
    "reply_url goes with style = ack: in style reply our answer is the charge": (
        "reply_url chỉ dùng với style = ack: ở style reply chính câu trả lời là lệnh trừ tiền"
    ),
    "style = reply and refuse_text go together": "style = reply và refuse_text phải đi cùng nhau",
    "password and password_form go together: ask the operator how spRevpassword is made": (
        "password và password_form phải đi cùng nhau: hãy hỏi nhà mạng cách tạo spRevpassword"
    ),
    "user alone keeps nobody out: give password and password_form too": (
        "chỉ có user thì không chặn được ai: hãy ghi thêm password và password_form"
    ),
    "message_reference needs ids: with without_ids nobody else knows the id of a message": (
        "message_reference cần có mã tin nhắn: với without_ids thì không ai khác biết mã đó"
    ),
    "secrets go with dialect.signature: give both or neither": (
        "secrets đi cùng dialect.signature: hãy ghi cả hai hoặc không ghi gì"
    ),
    "example.secret goes with signature: give both or neither": (
        "example.secret đi cùng signature: hãy ghi cả hai hoặc không ghi gì"
    ),
    "dialect.example.secret is kept in clear: sign the example with one made up for it": (
        "dialect.example.secret được lưu không mã hóa: hãy ký ví dụ bằng một khóa đặt riêng cho nó"
    ),
    "without_ids = true goes with a dialect without fields.id: a repeat is then told by the time alone": (
        "without_ids = true chỉ dùng khi dialect không có fields.id: khi đó chỉ thời gian cho biết tin nào gửi lại"
    ),
    "short_code is a place in fields or a code of the dialect's own: give one of them": (
        "short_code hoặc là một vị trí trong fields, hoặc là mã riêng của dialect: hãy ghi một trong hai"
    ),
    "a charge needs fields.id, by which a repeat is told": ("charge cần fields.id, nhờ đó mới biết tin nào gửi lại"),
    "plain signs parts of which one is secret and another is not": (
        "plain ký trên các phần, trong đó có secret và ít nhất một phần khác"
    ),
    "hmac signs at least one part, and the secret is its key and no part": (
        "hmac ký trên ít nhất một phần; secret là khóa, không phải là một phần"
    ),
    "a token signs nothing: remove parts": ("token không ký gì cả: hãy bỏ parts"),
    "a signature cannot stand in the body that it signs: its place is a header": (
        "chữ ký không thể nằm trong chính nội dung mà nó ký: hãy đặt ở một header"
    ),
    "the part sorted is for query and form alone": ("phần sorted chỉ dùng cho query và form"),
    "accepted must have a status of success, 200 to 299": (
        "accepted phải có mã trạng thái thành công, từ 200 đến 299"
    ),
    "has a place for something else than id and reply: it would be sent as it stands": (
        "có chỗ điền khác id và reply: nó sẽ được gửi đi nguyên văn"
    ),
    "has a place for what could not be read: it would be sent as it stands": (
        "có chỗ điền cho điều không đọc được: nó sẽ được gửi đi nguyên văn"
    ),
    "not_counted is what accepted is: leave it out": ("not_counted giống hệt accepted: hãy bỏ đi"),
    "transport = form needs secrets, signed and separator: ask VAS Cloud for its recipe": (
        "transport = form cần secrets, signed và separator: hãy hỏi VAS Cloud cách ký"
    ),
    "services go with transport = xml: no form tells of a charge": (
        "services chỉ đi cùng transport = xml: không biểu mẫu nào báo việc thu tiền"
    ),
    "secrets, signed and separator go with transport = form: a document is not signed": (
        "secrets, signed và separator chỉ đi cùng transport = form: tài liệu XML không được ký"
    ),
    "signed names mo_id, token and others of source_address, mo_time, msisdn and mo": (
        "signed phải nêu mo_id, token và có thể thêm source_address, mo_time, msisdn, mo"
    ),
    "signed names each field once": "signed chỉ nêu mỗi trường một lần",
    # What changes.
    "none": "không có",
    "decision {number}": "quyết định {number}",
    "no decision named": "không nêu quyết định",
    "{opens_at} to {closes_at} ({by})": "{opens_at} đến {closes_at} ({by})",
    "{grammar} of {unit}": "{grammar}, mỗi suất {unit}",
    "{grammar} of {unit}, 1 to {max}": "{grammar}, mỗi suất {unit}, 1 đến {max}",
    "{key} {old} -> {new}": "{key} {old} -> {new}",
    "{key} changed": "{key} thay đổi",
    "organisation {code}: added": "tổ chức {code}: thêm mới",
    "organisation {code}: {change}": "tổ chức {code}: {change}",
    "campaign {slug}: added, {window}": "chiến dịch {slug}: thêm mới, {window}",
    "campaign {slug}: withdrawn, {window}": "chiến dịch {slug}: rút lại, {window}",
    "campaign {slug}: {change}": "chiến dịch {slug}: {change}",
    "campaign {slug}: corrected, {old} -> {new}": "chiến dịch {slug}: sửa lại, {old} -> {new}",
    "campaign {slug}: decision {number}, {old} -> {new}": (
        "chiến dịch {slug}: quyết định thứ {number}, {old} -> {new}"
    ),
    "campaign {slug}: route {code} {keyword} added ({value})": (
        "chiến dịch {slug}: thêm đầu số {code} từ khóa {keyword} ({value})"
    ),
    "campaign {slug}: route {code} {keyword} withdrawn ({value})": (
        "chiến dịch {slug}: rút lại đầu số {code} từ khóa {keyword} ({value})"
    ),
    "campaign {slug}: route {code} {keyword} corrected, {old} -> {new}": (
        "chiến dịch {slug}: sửa lại đầu số {code} từ khóa {keyword}, {old} -> {new}"
    ),
    "gateway {code}: added (adapter {adapter}, carrier {carrier})": (
        "cổng {code}: thêm mới (adapter {adapter}, carrier {carrier})"
    ),
    "gateway {code}: {change}": "cổng {code}: {change}",
    "gateway {code} is on": "cổng {code} đang bật",
    "gateway {code} is off: it takes no callbacks": "cổng {code} đang tắt: không nhận tin nào",
    "gateway {code} is a test account: what it sends is answered and never counted": (
        "cổng {code} là cổng thử nghiệm: tin từ cổng được trả lời và không bao giờ được tính"
    ),
    "gateway {code} is a real account: what it sends from now on is money": (
        "cổng {code} là cổng thật: tin từ cổng kể từ bây giờ là tiền ủng hộ"
    ),
    "nothing changed": "không có gì thay đổi",
    "nothing would change": "sẽ không có gì thay đổi",
    # What donors are told, and what stays.
    "Donors are told:": "Người ủng hộ được thông báo:",
    "Donors would be told:": "Người ủng hộ sẽ được thông báo:",
    "{slug}: {name}": "{slug}: {name}",
    "  texts count from {first} to {last} inclusive, Vietnam time": (
        "  tin nhắn được tính từ {first} đến hết {last}, giờ Việt Nam"
    ),
    "  goal: {goal}": "  mục tiêu: {goal}",
    '  "{text}" to {code} gives {amount}': '  soạn "{text}" gửi {code}: ủng hộ {amount}',
    '  "{written}" in the file is texted as {keyword}': '  "{written}" trong tệp được nhắn là {keyword}',
    "{slug}: no longer shown anywhere; its keywords are free": (
        "{slug}: không còn hiển thị ở đâu; các từ khóa được giải phóng"
    ),
    "stays: campaign {slug}": "giữ nguyên: chiến dịch {slug}",
    'stays: keyword "{keyword}" on {code} of campaign {slug}; withdrawn = true takes it away': (
        'giữ nguyên: từ khóa "{keyword}" ở đầu số {code} của chiến dịch {slug}; withdrawn = true sẽ rút từ khóa này'
    ),
    'stays: keyword "{keyword}" on {code} of campaign {slug}; messages were read by it, so it counts until the '
    "campaign closes": (
        'giữ nguyên: từ khóa "{keyword}" ở đầu số {code} của chiến dịch {slug}; đã có tin nhắn theo từ khóa này nên '
        "vẫn được tính cho đến khi chiến dịch đóng"
    ),
    # What donors are answered.
    "goes with hotline, the number that donors may ring; add that key too": (
        "phải đi cùng hotline, số điện thoại để người ủng hộ gọi; hãy thêm cả khóa đó"
    ),
    'holds "{letter}", which is no letter of a plain SMS': 'có ký tự "{letter}" không gửi được trong tin nhắn thường',
    "may be filled with {allowed} and nothing else in braces": (
        "chỉ được dùng {allowed}, không dùng ngoặc nhọn cho điều gì khác"
    ),
    'holds "{letter}", which is no letter of a plain SMS; write without diacritics, and without <, > and &': (
        'có ký tự "{letter}" không gửi được trong tin nhắn thường; hãy viết không dấu, không dùng <, > và &'
    ),
    "must tell the donor {missing}; add it": "phải cho người ủng hộ biết {missing}; hãy thêm vào",
    'asks for another gift ("{words}"): an answer to a message may not, or it is an advertisement; leave it out': (
        'kêu gọi ủng hộ thêm ("{words}"): tin trả lời không được kêu gọi, nếu không sẽ là tin quảng cáo; hãy bỏ đi'
    ),
    'takes more than one SMS at its longest values, {length} letters of {max}: "{text}"; shorten it': (
        'dài hơn một tin nhắn khi điền các giá trị dài nhất, {length} trên {max} ký tự: "{text}"; hãy rút ngắn'
    ),
    '  a gift is answered "{text}" ({length} of {max} letters)': (
        '  tin được tính sẽ được trả lời "{text}" ({length} trên {max} ký tự)'
    ),
    '  a wrong form is answered "{text}" ({length} of {max} letters)': (
        '  tin sai cú pháp sẽ được trả lời "{text}" ({length} trên {max} ký tự)'
    ),
    '  a text after the end is answered "{text}" ({length} of {max} letters)': (
        '  tin gửi sau khi kết thúc sẽ được trả lời "{text}" ({length} trên {max} ký tự)'
    ),
    "stays: gateway {code}, on": "giữ nguyên: cổng {code}, đang bật",
    "stays: gateway {code}, off": "giữ nguyên: cổng {code}, đang tắt",
    "stays: gateway {code}, on, a test account": "giữ nguyên: cổng {code}, đang bật, là cổng thử nghiệm",
    "stays: gateway {code}, off, a test account": "giữ nguyên: cổng {code}, đang tắt, là cổng thử nghiệm",
    # What is unusual.
    "line {line} {place}": "dòng {line} {place}",
    "unusual: {place}: {reason}": "bất thường: {place}: {reason}",
    "has passed: nothing texted from now on would count": "đã qua: tin nhắn từ bây giờ sẽ không được tính",
    "lies more than a year after the opening": "cách lúc mở hơn một năm",
    "lies less than a day after the opening": "cách lúc mở chưa đầy một ngày",
    "lies more than a year ahead": "còn hơn một năm nữa mới tới",
    "lies more than five years ahead: is the year right?": "còn hơn năm năm nữa: năm có đúng không?",
    "lies more than a month back: is the year right?": "đã qua hơn một tháng: năm có đúng không?",
    "would be {times} times what it was; count its zeros": "sẽ gấp {times} lần mục tiêu cũ; hãy đếm lại các số 0",
    "would be {times} times that of campaign {other}; count its zeros": (
        "sẽ gấp {times} lần mục tiêu của chiến dịch {other}; hãy đếm lại các số 0"
    ),
    "is the first instant that no longer counts, so the last minute or second of the day would be lost; write 00:00 "
    "of the next day": (
        "là thời điểm đầu tiên không còn được tính, nên phút hoặc giây cuối của ngày sẽ bị mất; hãy viết 00:00 của "
        "ngày hôm sau"
    ),
    "closes the campaign earlier than was decided; once it has passed, it cannot be opened again": (
        "đóng chiến dịch sớm hơn quyết định; sau thời điểm này không thể mở lại"
    ),
    '"{keyword}" holds punctuation, which donors would have to text as it stands; several keywords are a list': (
        '"{keyword}" có dấu câu, người ủng hộ phải nhắn y như vậy; nhiều từ khóa thì viết thành danh sách'
    ),
    '"{keyword}" ends in a number: a donor would take it for the number of units': (
        '"{keyword}" kết thúc bằng số: người ủng hộ sẽ hiểu là số suất ủng hộ'
    ),
    '"{keyword}" ends in N or GUI, which stand in advertisements for a number and for "send to"': (
        '"{keyword}" kết thúc bằng N hoặc GUI, mà trong lời kêu gọi đó là chỗ ghi số suất và chữ "gửi"'
    ),
    '"{keyword}" holds letters that a phone in Vietnam does not type, though they may look like A to Z; type the '
    "keyword anew": (
        '"{keyword}" có chữ mà điện thoại ở Việt Nam không gõ được, dù có thể trông giống A đến Z; hãy gõ lại từ khóa'
    ),
    "is midnight of UTC and 07:00 in Vietnam; midnight in Vietnam is written 00:00:00+07:00": (
        "là nửa đêm theo giờ UTC, tức 07:00 ở Việt Nam; nửa đêm ở Việt Nam viết là 00:00:00+07:00"
    ),
    "would let one message give {most}; usual is {usual} at most": (
        "sẽ cho phép một tin nhắn ủng hộ {most}; thông thường nhiều nhất là {usual}"
    ),
    "would be {goal}; count its zeros": "sẽ là {goal}; hãy đếm lại các số 0",
    "is none of the codes that take gifts, {first} to {last}": (
        "không thuộc các đầu số nhận ủng hộ, {first} đến {last}"
    ),
    "would charge {unit} for a unit; usual are {first} to {last}": (
        "sẽ thu {unit} mỗi suất; thông thường từ {first} đến {last}"
    ),
    '"{longer}" is "{shorter}" with a number: who texts that number of units to "{shorter}" would give to the '
    "other": (
        '"{longer}" là "{shorter}" kèm một số: ai nhắn số suất đó cho "{shorter}" sẽ ủng hộ nhầm sang từ khóa kia'
    ),
    (
        'tells donors "{words}", but over gateway {code} the message itself is charged, in whatever form it is and '
        "whenever it comes, unless its hub gives that back"
    ): (
        'báo cho người ủng hộ "{words}", nhưng qua cổng {code} chính tin nhắn đã bị tính tiền, dù sai cú pháp hay '
        "hết hạn, trừ khi đầu mối hoàn lại"
    ),
    (
        "charges donors by the message itself, in whatever form it is and whenever it comes, but campaign "
        '{slug} tells them "{words}"; unless the hub gives that back, correct the campaign first'
    ): (
        "tính tiền người ủng hộ ngay khi nhắn tin, dù sai cú pháp hay hết hạn, nhưng chiến dịch {slug} báo cho họ "
        '"{words}"; trừ khi đầu mối hoàn lại, hãy sửa chiến dịch trước'
    ),
    "has no secret whose time it is: everything over this gateway would be turned away": (
        "không có khóa bí mật nào đang trong thời hạn: mọi tin qua cổng này sẽ bị từ chối"
    ),
    "takes the gateway off: every callback of it will be refused": ("tắt cổng này: mọi tin từ cổng sẽ bị từ chối"),
    "makes a test account of one whose messages were money: gifts over it will not be counted": (
        "biến một cổng thật thành cổng thử nghiệm: tiền ủng hộ qua cổng này sẽ không được tính"
    ),
    "Apply it as it is? [y/N] ": "Áp dụng nguyên như vậy? [c/K] ",
    "nothing was applied": "chưa áp dụng gì",
    "applied: {change}": "đã áp dụng: {change}",
    "NOT APPLIED: the campaigns of the file need two people; they wait as draft {number} of the desk, "
    "/desk/proposals/{number}": (
        "CHƯA ÁP DỤNG: các chiến dịch trong tệp cần hai người; đã lưu thành bản nháp số {number} của bàn "
        "điều hành, /desk/proposals/{number}"
    ),
    "applying it would file the campaigns of the file as a draft of the desk: they need two people": (
        "nếu áp dụng, các chiến dịch trong tệp sẽ được lưu thành bản nháp của bàn điều hành: việc này cần hai người"
    ),
    "nothing was applied: say --yes if what is unusual is meant": (
        "chưa áp dụng gì: hãy thêm --yes nếu những điều bất thường là đúng ý"
    ),
}
